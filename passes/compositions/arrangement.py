"""Arrangements: a composition at fixed settings over the executors that are its members in a call.

Whatever a call's pins ask of a composition that cannot be is a finding at the pin.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ir.diagnostics import Diagnostic, Span, did_you_mean
from ...ir.ops import Attr, Op, Symbol, attributes
from ...ir.voting import incomparable
from ...ir.workflow import Task
from ...targets.compositions import Composition
from ...targets.library import Executor, Library
from ..ability import GENERATE, able, answers_in_words
from ..base import Context
from ..pins import MODEL_KNOBS, SELECTORS, Pin, model_setting, pin_place, pins_of, refuses

# What language models are commonly sampled at for votes (Wang et al., "Self-Consistency Improves
# Chain of Thought Reasoning", ICLR 2023, section 3.1: 0.5 to 0.7).
TEMPERATURE = 0.7
_SAMPLED = ("vote", "debate")
_ABOVE_ZERO = Pin("temperature", ">", 0)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How one call is carried out by a composition.

    stages: candidates of the calls that answer: one tuple for each member of a cascade, cheap to
    strong, else one. asked: candidates of calls of tasks made from the call's. pins: those of the
    members, as attributes. factor: what the composition does to accuracy.
    """

    composition: Composition
    settings: Mapping[str, Attr]
    stages: tuple[tuple[Symbol, ...], ...]
    asked: tuple[Symbol, ...]
    pins: Mapping[str, Attr]
    factor: float

    def whole(self, name: str) -> int:
        """Return a setting that is a whole number."""
        value = self.settings[name]
        assert isinstance(value, int)  # the library's reader has seen to it
        return value

    @property
    def label(self) -> str:
        """The composition with its settings, `vote{votes = 5}`."""
        said = ", ".join(f"{name} = {value}" for name, value in sorted(self.settings.items()))
        return self.composition.name + (f"{{{said}}}" if said else "")


def pinned_composition(op: Op, library: Library) -> Composition | None:
    """Return the composition that a call's `executor` pin names, if it names one."""
    pins = [pin for pin in pins_of(op) if pin.name == "executor"]
    if len(pins) != 1 or pins[0].op not in ("=", "==") or not isinstance(pins[0].value, str):
        return None
    return library.composition(pins[0].value)


def settings_of(composition: Composition, pins: Sequence[Pin]) -> Mapping[str, Attr] | Pin:
    """Return the first choices that pins leave, or a pin that leaves none."""
    settings: dict[str, Attr] = {}
    for name, choices in composition.knobs:
        own = [pin for pin in pins if pin.name == name]
        left = [choice for choice in choices if all(pin.accepts(choice) for pin in own)]
        if not left:
            return own[0]
        settings[name] = left[0]
    return settings


def arranged(
    op: Op,
    task: Task,
    composition: Composition,
    context: Context,
    settings: Mapping[str, Attr] | None = None,
) -> Arrangement | Diagnostic:
    """Return how a composition carries out a call, or why it cannot, at the pin that asks for it.

    `settings` left out are what the call's pins leave.
    """
    reason = _unsuitable(op, task, composition)
    if reason is not None:
        return _unsuited(op, task, *reason)
    pins = pins_of(op)
    chosen = settings_of(composition, pins) if settings is None else settings
    if isinstance(chosen, Pin):
        choices = ", ".join(map(str, dict(composition.knobs)[chosen.name]))
        message = f"no setting of `{composition.name}` satisfies `{chosen}`"
        help = f"its `{chosen.name}` is one of {choices}"
        return Diagnostic("unsatisfiable-pin", message, pin_place(op, chosen.name), help=help)
    mine = {"executor", *(name for name, _ in composition.knobs)}
    theirs = tuple(pin for pin in pins if pin.name not in mine)
    members = _members(op, task, composition, theirs, context)
    if isinstance(members, Diagnostic):
        return members
    sampled = _temperature(op, task, composition, theirs)
    if isinstance(sampled, Diagnostic):
        return sampled
    stages = _stages(members, composition, context)
    if len(stages) < 2 and composition.kind == "cascade":
        help = f"only `{members[0].name}` can carry out `{task.name}` here"
        return _unsuited(op, task, "a cascade needs two language models", help)
    asked = _asked(task, members, theirs, context)
    if not asked and (composition.kind in ("reflect", "debate") or composition.verify == "task"):
        message = f"no language model of `{GENERATE}` can be asked about answers of `{task.name}`"
        return _unsuited(op, task, message, None)
    kept = {key: value for key, value in op.attrs if key.startswith("pin.")}
    for name in mine:
        kept.pop(f"pin.{name}", None)
    return Arrangement(
        composition,
        chosen,
        stages,
        asked,
        dict(attributes(kept | sampled)),
        composition.factor(chosen),
    )


def _unsuited(op: Op, task: Task, message: str, help: str | None) -> Diagnostic:
    return Diagnostic("unsuitable-composition", message, pin_place(op, "executor"), help=help)


def _unsuitable(op: Op, task: Task, composition: Composition) -> tuple[str, str | None] | None:
    """Return why a composition cannot be used for a call, whoever its members are, and a hint."""
    name = composition.name
    if task.effect:
        message = f"`{task.name}` changes the world, and `{name}` would do it more than once"
        return message, "pin an executor instead"
    if op.flag("optional"):
        return f"optional work cannot be carried out by `{name}`", "leave `optional` out"
    if composition.interface not in (GENERATE, task.interface):
        message = f"`{name}` is for `{composition.interface}`, and `{task.name}` is not"
        return message, f"it is bound to `{task.interface}`"
    reason = incomparable(task.result) if composition.kind == "vote" else None
    if reason is not None:
        return f"there is no vote on what `{task.name}` gives: {reason}", _DEBATABLE
    return None


_DEBATABLE = "a debate has a judge for such answers, and a self-reflection asks for one"


def _members(
    op: Op, task: Task, composition: Composition, pins: Sequence[Pin], context: Context
) -> list[Executor] | Diagnostic:
    name = composition.name
    found = [executor for executor in able(task, context) if answers_in_words(executor, task)]
    if not found:
        message = f"no language model carries out `{task.name}`, and `{name}` has no other members"
        return _unsuited(op, task, message, f"it is bound to `{task.interface}`")
    if composition.members:
        found = [executor for executor in found if executor.name in composition.members]
    if not found:
        listed = ", ".join(f"`{member}`" for member in composition.members)
        message = f"no member of `{name}` can carry out `{task.name}`"
        return _unsuited(op, task, message, f"its members are {listed}")
    for _, group in itertools.groupby(pins, key=lambda pin: pin.name):
        together = tuple(group)
        refusals = {executor.name: refuses(executor, together) for executor in found}
        left = [executor for executor in found if refusals[executor.name] is None]
        if not left:
            return _refused(op, task, composition, together, refusals, found)
        found = left
    return found


def _refused(
    op: Op,
    task: Task,
    composition: Composition,
    pins: tuple[Pin, ...],
    refusals: Mapping[str, str | None],
    members: Sequence[Executor],
) -> Diagnostic:
    place = pin_place(op, pins[0].name)
    own = [name for name, _ in composition.knobs]
    theirs = {name for executor in members for name, _ in executor.knobs} | {*MODEL_KNOBS}
    name = pins[0].name
    if name not in SELECTORS and name not in theirs:
        message = f"neither `{composition.name}` nor its members have a knob `{name}`"
        listed = " and ".join(f"`{knob}`" for knob in own) or "none"
        help = did_you_mean(name, {*own, *theirs}) or f"knobs of `{composition.name}`: {listed}"
        return Diagnostic("unknown-knob", message, place, help=help)
    text = "` and `".join(map(str, pins))
    why = "; ".join(f"`{member}`: {reason}" for member, reason in list(refusals.items())[:4])
    message = f"no member of `{composition.name}` satisfies `{text}`"
    return Diagnostic("unsatisfiable-pin", message, place, help=why)


def _temperature(
    op: Op, task: Task, composition: Composition, pins: Sequence[Pin]
) -> dict[str, Attr] | Diagnostic:
    """Return what makes the members' answers differ: a pin on their temperature."""
    if composition.kind not in _SAMPLED:
        return {}
    stated = [pin for pin in pins if pin.name == "temperature"]
    if not stated:
        return {"pin.temperature": f"= {TEMPERATURE}"}
    setting = model_setting([*stated, _ABOVE_ZERO])
    if setting is None:
        message = f"at `{stated[0]}` all answers of `{composition.name}` would be the same"
        place: Span | None = pin_place(op, "temperature")
        help = "pin a temperature above 0"
        return Diagnostic("unsatisfiable-pin", message, place, help=help)
    return {"pin.temperature": f"= {setting}"}


def _stages(
    members: Sequence[Executor], composition: Composition, context: Context
) -> tuple[tuple[Symbol, ...], ...]:
    """Return the candidates of each call that answers; `members` are the best first."""
    if composition.kind != "cascade":
        return (_symbols(members),)
    if composition.members:
        known = {executor.name: executor for executor in members}
        return tuple(_symbols([known[name]]) for name in composition.members if name in known)
    here = [e for e in members if _stands(e, context)] or list(members)
    return tuple(_symbols(stage) for stage in (here[1:], here[:1]) if stage)


def _stands(executor: Executor, context: Context) -> bool:
    return context.offers(executor) and bool(context.costs.slots(executor, context.cluster))


def _asked(
    task: Task, members: Sequence[Executor], pins: Sequence[Pin], context: Context
) -> tuple[Symbol, ...]:
    """Return who may be asked about an answer: the members, or else their models in words."""
    if task.interface == GENERATE:
        return _symbols(members)
    groups = [tuple(g) for _, g in itertools.groupby(pins, key=lambda pin: pin.name)]
    found = [
        executor
        for executor in able(task, context, GENERATE)
        if all(refuses(executor, group) is None for group in groups)
    ]
    models = {executor.model for executor in members}
    return _symbols([e for e in found if e.model in models] or found)


def _symbols(executors: Sequence[Executor]) -> tuple[Symbol, ...]:
    return tuple(Symbol(executor.name) for executor in executors)
