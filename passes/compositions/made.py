"""Tasks made from a task: to revise its answer, to debate it, to judge between answers, to check.

Their prompts begin with the task's own, so that a server that has read that need not read it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ...ir.ops import Value
from ...ir.types import BOOL, ListOf, Record, Type
from ...ir.workflow import Expectation, Task, scored_result
from ..ability import GENERATE
from ..prompts.wording import prompt_of

_REVISE = (
    "A draft of the answer:\n{{{draft}}}\n\nCheck the draft step by step. Give the answer as "
    "`result`, with every mistake mended. `done` is true if nothing had to be changed."
)
_DEBATE = (
    "Your own answer so far:\n{{{own}}}\n\nThe answers of everyone who was asked, yours among "
    "them:\n{{{answers}}}\n\nTake the others' answers for advice, and answer again."
)
_JUDGE = "Answers that were proposed:\n{{{answers}}}\n\nGive the best of them."
_CHECK = "A proposed answer:\n{{{answer}}}\n\nIs it right and complete?"


class MadeTasks:
    """The tasks of a module and those made from them; what is made twice is made once."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        """Learn the tasks there are."""
        self._tasks = {task.name: task for task in tasks}
        self._origins: dict[str, str] = {}  # of a made task that answers like one: the name of it

    def __getitem__(self, name: str) -> Task:
        """Return a task by name."""
        return self._tasks[name]

    def sorted(self) -> tuple[Task, ...]:
        """Return all tasks in a module's order."""
        return tuple(self._tasks[name] for name in sorted(self._tasks))

    def expectations(self, stated: Iterable[Expectation]) -> Iterator[Expectation]:
        """Yield what is expected, also of made tasks whose answers are as long."""
        for expectation in stated:
            yield expectation
            for made, origin in self._origins.items():
                if expectation.fact == f"tokens({origin})":
                    yield replace(expectation, fact=f"tokens({made})")

    def revision(self, task: Task) -> Task:
        """Return the task to improve a draft: `{result: T, done: Bool}` from the draft, last."""
        result = Record((("result", task.result), ("done", BOOL)))
        return self._asked(task, "revise", _REVISE, {"draft": task.result}, result)

    def debated(self, task: Task) -> Task:
        """Return the task to answer again, from one's own answer and all answers, last."""
        given = {"own": task.result, "answers": ListOf(task.result)}
        return self._asked(task, "debate", _DEBATE, given, task.result)

    def judged(self, task: Task) -> Task:
        """Return the task to give the best of answers, last."""
        return self._asked(task, "judge", _JUDGE, {"answers": ListOf(task.result)}, task.result)

    def checked(self, task: Task) -> Task:
        """Return the task to tell whether an answer, last, is right."""
        return self._asked(task, "check", _CHECK, {"answer": task.result}, BOOL)

    def scored(self, task: Task) -> Task:
        """Return the task whose answers come with how sure the model was of them."""
        made = replace(task, result=scored_result(task.result), scored=True)
        return self._known(task, "scored", made)

    def _asked(
        self, task: Task, suffix: str, words: str, given: dict[str, Type], result: Type
    ) -> Task:
        """Return a task in words that takes the task's parameters and what is `given`."""
        taken = {param.name for param in task.params}
        names = {name: _fresh(name, taken) for name in given}
        params = (*task.params, *(Value(names[name], kind) for name, kind in given.items()))
        prompt = task.prompt if task.prompt is not None else prompt_of(task)
        made = replace(
            task,
            params=params,
            result=result,
            description="",
            prompt=f"{prompt.rstrip()}\n\n{words.format(**names)}",
            using=None,
            interface=GENERATE,
            binding=tuple(param.name for param in params),
        )
        return self._known(task, suffix, made)

    def _known(self, task: Task, suffix: str, made: Task) -> Task:
        base = name = f"{task.name}_{suffix}"
        count = 1
        while self._tasks.get(name, replace(made, name=name)) != replace(made, name=name):
            name, count = f"{base}_{count}", count + 1
        self._tasks[name] = replace(made, name=name)
        if made.result != BOOL:
            self._origins[name] = task.name
        return self._tasks[name]


def _fresh(name: str, taken: set[str]) -> str:
    found, count = name, 1
    while found in taken:
        found, count = f"{name}_{count}", count + 1
    taken.add(found)
    return found
