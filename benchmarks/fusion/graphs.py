"""The workflows of the suite in LangGraph, one function a workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

from frameworks import Fields, Model, fan_out, keeps, over, way
from langgraph.graph import END, START, StateGraph

Run = Callable[[Model, Fields], Awaitable[Any]]


def _each(name: str, field: str) -> Callable[[Fields], list[Fields]]:
    return lambda given: [{field: item} for item in given[name]]


async def enron(model: Model, given: Fields) -> Any:
    async def read(known: Fields) -> Fields:
        found = await model.ask("headers", known["email"])
        return {"kept": {"email": known["email"], "found": found}}

    one = way(
        {
            "read": read,
            "suspect": keeps(lambda known: model.ask("names_scheme", known["email"])),
            "own": keeps(lambda known: model.ask("is_own", known["email"])),
        },
        "kept",
    )
    return await over(fan_out(_each("emails", "email"), one), given)


async def listings(model: Model, given: Fields) -> Any:
    async def facts(known: Fields) -> Fields:
        return {"fact": await model.ask("facts", known["home"]["text"])}

    async def looks(known: Fields) -> Fields:
        return {"look": await model.ask("looks", known["home"]["pictures"])}

    async def affordable(known: Fields) -> bool:
        return bool(600_000 < known["fact"]["price"] <= 2_000_000)

    def appeals(known: Fields) -> Awaitable[bool]:
        return model.ask("appeals", known["look"]["modern"], known["look"]["sunny"])

    nodes = {"read": facts, "see": looks, "appeal": keeps(appeals), "afford": keeps(affordable)}
    return await over(fan_out(_each("homes", "home"), way(nodes, "fact")), given)


async def medical(model: Model, given: Fields) -> Any:
    async def extract(known: Fields) -> Fields:
        return {"found": await model.ask("medications", known["transcript"])}

    async def resolve(known: Fields) -> Fields:
        return {"name": await model.ask("standard_name", known["mention"])}

    async def reduce(known: Fields) -> Fields:
        text = await model.ask("uses", known["name"], known["transcript"])
        return {"told": {"name": known["name"], "told": text}}

    visits = _each("transcripts", "transcript")
    found = await over(fan_out(visits, way({"extract": extract}, "found")), given)
    mentions = [
        {"mention": mention, "transcript": transcript}
        for transcript, names in zip(given["transcripts"], found, strict=True)
        for mention in names
    ]
    one = way({"resolve": resolve, "reduce": reduce}, "told")
    return await over(fan_out(lambda state: state["mentions"], one), {"mentions": mentions})


async def hearings(model: Model, given: Fields) -> Any:
    def health(known: Fields) -> Awaitable[bool]:
        return model.ask("on_health", known["record"]["title"], known["record"]["opening"])

    async def mine(known: Fields) -> Fields:
        record = known["record"]
        return {"quotes": await model.ask("quotes", record["title"], record["transcript"])}

    async def date(known: Fields) -> Fields:
        calls = (model.ask("year_of", known["record"]["date"]) for _ in known["quotes"])
        years = await asyncio.gather(*calls)
        dated = zip(years, known["quotes"], strict=True)
        return {"dated": [{"year": year, "quote": quote} for year, quote in dated]}

    async def tell(known: Fields) -> Fields:
        record = known["record"]
        text = await model.ask("summary", record["title"], record["transcript"], known["dated"])
        return {"told": {"title": record["title"], "told": text}}

    nodes = {"health": keeps(health), "mine": mine, "date": date, "tell": tell}
    return await over(fan_out(_each("records", "record"), way(nodes, "told")), given)


async def reviews(model: Model, given: Fields) -> Any:
    async def analyse(known: Fields) -> Fields:
        review = known["review"]
        return {"found": await model.ask("points", review["text"], review["category"])}

    async def sort(known: Fields) -> Fields:
        complaints, category = known["found"]["complaints"], known["review"]["category"]
        return {"issue": await model.ask("issues", complaints, category)}

    async def tell(known: Fields) -> Fields:
        found = known["found"]
        text = await model.ask(
            "digest", known["review"]["text"], found["sentiment"], found["features"]
        )
        return {"told": {"issue": known["issue"], "told": text}}

    nodes = {"analyse": analyse, "sort": sort, "tell": tell}
    return await over(fan_out(_each("given", "review"), way(nodes, "told")), given)


async def hotpot(model: Model, given: Fields) -> Any:
    async def first(known: Fields) -> Fields:
        return {"one": await model.ask("first_query", known["question"]["text"])}

    async def second(known: Fields) -> Fields:
        question = known["question"]
        two = await model.ask("next_query", question["text"], known["one"], question["first"])
        return {"two": two}

    async def reply(known: Fields) -> Fields:
        question = known["question"]
        context = question["first"] + question["second"]
        queries = [known["one"], known["two"]]
        return {"text": await model.ask("reply", question["text"], queries, context)}

    nodes = {"first": first, "second": second, "reply": reply}
    return await over(fan_out(_each("questions", "question"), way(nodes, "text")), given)


async def maths(model: Model, given: Fields) -> Any:
    async def set_up(known: Fields) -> Fields:
        return {"equations": await model.ask("set_up", known["problem"])}

    async def solve(known: Fields) -> Fields:
        return {"answer": await model.ask("solve", known["problem"], known["equations"])}

    one = way({"set_up": set_up, "solve": solve}, "answer")
    return await over(fan_out(_each("problems", "problem"), one), given)


async def grading(model: Model, given: Fields) -> Any:
    async def rubric(known: Fields) -> Fields:
        return {"points": await model.ask("rubric", given["assignment"])}

    async def doubts(known: Fields) -> Fields:
        lines = await model.ask("borrowed", known["essay"])
        return {"doubts": await model.ask("origin", lines)}

    async def grade(known: Fields) -> Fields:
        given = known["points"], known["essay"], known["doubts"]
        return {"text": await model.ask("grade", *given)}

    one = way({"rubric": rubric, "doubt": doubts, "grade": grade}, "text")
    return await over(fan_out(_each("essays", "essay"), one), given)


async def briefing(model: Model, given: Fields) -> Any:
    async def gist(known: Fields) -> Fields:
        return {"gist": await model.ask("gist", known["document"])}

    async def risk(known: Fields) -> Fields:
        what = await model.ask("risk", known["gist"])
        return {"both": (known["gist"], what)}

    documents = _each("documents", "document")

    async def newsletter() -> Any:
        gists = await over(fan_out(documents, way({"gist": gist}, "gist")), given)
        return await model.ask("letter", gists)

    async def board() -> Any:
        one = way({"gist": gist, "risk": risk}, "both")
        found = await over(fan_out(documents, one), given)
        return await model.ask("report", [g for g, _ in found], [r for _, r in found])

    letter, report = await asyncio.gather(newsletter(), board())
    return {"letter": letter, "report": report}


async def applications(model: Model, given: Fields) -> Any:
    async def read(known: Fields) -> Fields:
        resume, letter = known["application"]["resume"], known["application"]["letter"]
        found, years, rated = await asyncio.gather(
            model.ask("skills", resume), model.ask("experience", resume), model.ask("fit", letter)
        )
        return {"kept": {"skills": found, "years": years, "fit": rated}}

    return await over(fan_out(_each("given", "application"), way({"read": read}, "kept")), given)


class Question(TypedDict, total=False):
    text: str
    answer: str


async def triage(model: Model, given: Fields) -> Any:
    async def route(state: Question) -> str:
        return "expert" if await model.ask("is_hard", state["text"]) else "clerk"

    def by(task: str) -> Callable[[Question], Awaitable[Question]]:
        async def step(state: Question) -> Question:
            return {"answer": await model.ask(task, state["text"])}

        return step

    graph: Any = StateGraph(Question)
    graph.add_conditional_edges(START, route, ["expert", "clerk"])
    for task in ("expert", "clerk"):
        graph.add_node(task, by(task))
        graph.add_edge(task, END)
    done = await graph.compile().ainvoke({"text": given["question"]})
    return done["answer"]


GRAPHS: dict[str, Run] = {
    "enron": enron,
    "listings": listings,
    "medical": medical,
    "hearings": hearings,
    "reviews": reviews,
    "hotpot": hotpot,
    "maths": maths,
    "grading": grading,
    "briefing": briefing,
    "applications": applications,
    "triage": triage,
}
