"""metabook: meta-learning systems in PyTorch, one small file each, and the book that explains them.

tasks = metabook.make_tasks("glyphs", part="train", way=5, shots=1)
learner = metabook.build("prototypical", tasks)
metabook.train(learner, tasks, steps=1000)
metabook.evaluate(learner, metabook.make_tasks("glyphs", part="test"))
"""

from metabook.checkpoint import load, save
from metabook.episode import Episode, Examples, union
from metabook.evaluation import Score, Scores, evaluate
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Likelihood, Regression
from metabook.metric import ProtoNet
from metabook.optimization import MAML
from metabook.registry import SYSTEMS, TASKS, build, make_tasks
from metabook.tasks.protocol import Tasks
from metabook.training import History, train

__version__ = "0.1.0"
__all__ = [
    "MAML",
    "SYSTEMS",
    "TASKS",
    "Classification",
    "Episode",
    "Examples",
    "History",
    "Likelihood",
    "MetaLearner",
    "ProtoNet",
    "Regression",
    "Score",
    "Scores",
    "Tasks",
    "build",
    "evaluate",
    "load",
    "make_tasks",
    "save",
    "train",
    "union",
]
