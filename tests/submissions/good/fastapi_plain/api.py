from pydantic import BaseModel


class ProcessRequest(BaseModel):
    prompt: str
    max_new_tokens: int = 50
    temperature: float = 0.8
    stop_sequences: list[str] = []


class TokenizeRequest(BaseModel):
    text: str
    truncation: bool = False
    max_length: int = 2048


class DecodeRequest(BaseModel):
    tokens: list[int]
