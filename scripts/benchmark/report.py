"""What becomes of the results: Markdown tables."""

CELL_OF_NOTHING = "-"


def markdown(document):
    """The tables of a whole run."""
    names = [one for one in document["filesystems"] if document["filesystems"][one]["measured"]]
    lines = [*ratios(document, names), "", *figures(document, names), "", *notes(document)]
    return "\n".join(lines) + "\n"


def ratios(document, names):
    others = [name for name in names if name != "native"]
    titles = [document["filesystems"][name]["title"] for name in others]
    yield table_row(["ratio to native, median (quartiles)", "native, ms", *titles])
    yield table_row(["---"] * (len(others) + 2))
    for row in document["rows"]:
        if "what" in row:
            continue
        results = row.get("results", {})
        native = results.get("native", {}).get("time")
        cells = [f"{native['median'] * 1000:.1f}" if native else CELL_OF_NOTHING]
        cells += [ratio(results.get(name, {})) for name in others]
        yield table_row([row["label"], *cells])


def figures(document, names):
    others = [name for name in names if name != "native"]
    yield table_row(["of a mount", *(document["filesystems"][name]["title"] for name in others)])
    yield table_row(["---"] * (len(others) + 1))
    for row in document["rows"]:
        if "what" in row:
            results = row.get("results", {})
            native = results.get("native", {})
            yield table_row([row["label"],
                             *(figure(results.get(name, {}), native) for name in others)])


def table_row(cells):
    return "| " + " | ".join(cells) + " |"


def ratio(result):
    if "ratio" not in result:
        return CELL_OF_NOTHING
    low, high = result["ratio"]["quartiles"]
    return f"{short(result['ratio']['median'])} ({short(low)} to {short(high)})"


def figure(result, native):
    if "time" in result:
        median = result["time"]["median"] * 1000
        low, high = (value * 1000 for value in result["time"]["quartiles"])
        text = f"{median:.0f} ms ({low:.0f} to {high:.0f})"
        if "time" in native:
            text += f", {median - native['time']['median'] * 1000:.0f} ms more"
        return text
    if "resident_mib" in result:
        return f"{result['resident_mib']:.0f} MiB, {result['descriptors']:,} descriptors"
    return CELL_OF_NOTHING


def short(value):
    """Three digits, and not more than two behind the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def notes(document):
    """How it came about, in a few sentences."""
    machine, tree = document["machine"], document["tree"]
    yield (f"{document['rounds']} rounds in one run, in turns. {machine['cpus']} CPUs "
           f"({machine['cpu']}), Linux {machine['kernel']}, {machine['filesystem']}; "
           f"{tree['files']:,} files, {tree['bytes'] / (1 << 20):.0f} MiB.")
    for name, one in document["filesystems"].items():
        if one.get("command"):
            yield f"- {one['title']}: {one['version']}, `{' '.join(one['command'])}`"
        elif one.get("reason"):
            yield f"- {one['title']}: {one['reason']}"
    for version, reason in document["interpreters_left_out"].items():
        yield f"- CPython {version} is left out: {reason}"
    for row in document["rows"]:
        if "reason" in row:
            yield f"- {row['label']}: left out, {row['reason']}"
        for name, result in row.get("results", {}).items():
            if "reason" in result and "what" not in row:
                yield f"- {row['label']}, {name}: {result['reason']}"
