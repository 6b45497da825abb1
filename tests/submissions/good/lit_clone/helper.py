def cut(text, stops):
    """Up to the first stop sequence."""
    places = [text.find(stop) for stop in stops if stop in text]
    return text[: min(places)] if places else text
