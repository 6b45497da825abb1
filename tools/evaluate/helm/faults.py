"""Why a run spec failed, in a user's words: HELM's log has a traceback a failure."""

import re

# What a traceback's text shows, and what to say of it. The first that fits counts.
_KNOWN = (
    (
        r"None/process",
        "HELM does not know where the worker is: HELM_HTTP_MODEL_BASE_URL did not reach it",
    ),
    (
        r"punkt_tab|Resource .*punkt",
        "NLTK's sentence splitter was not found where NLTK_DATA says; is the run folder whole?",
    ),
    (
        r"No module named '?(bert_score|summ_eval)|en_core_web_sm",
        "it wants packages that HELM's environment lacks (bert_score, summ_eval, a spaCy model); "
        "for summaries there is summarization_cnndm, whose ROUGE is computed without them",
    ),
    (
        r"(urlopen error|Couldn't reach|Name or service not known|ConnectionError.*[Hh]ub"
        r"|Failed with exit code \d+: (wget|gdown)|OfflineModeIsEnabled|LocalEntryNotFoundError)",
        "its data is not there and cannot be downloaded; put it below a folder laid out like "
        "HELM's benchmark_output, and give that: make eval DATA=FOLDER",
    ),
    (
        r"No such file or directory: '(wget|gdown|unzip)'",
        "HELM downloads its data with a program that is not installed; install it, or give the "
        "data: make eval DATA=FOLDER",
    ),
    (
        # Last: a download that failed may say some of these words, too.
        r"(ConnectionRefused|Connection refused|HTTPConnectionPool|RemoteDisconnected"
        r"|Failed to make request)",
        "the worker did not answer five times in a row; see its log",
    ),
)


def explain(trace: str) -> str:
    """One line about a failed run spec.

    Args:
        trace: what HELM's log has about it; may be empty.

    Returns:
        What is known about such a failure, if anything is, and the last line of the trace.
    """
    last = last_line(trace) if trace.strip() else "see the log"
    for pattern, meaning in _KNOWN:
        if re.search(pattern, trace):
            return f"{meaning} ({last})"
    return last


def last_line(text: str) -> str:
    """The last line of a text."""
    return (text.strip().splitlines() or ["no output"])[-1].strip()
