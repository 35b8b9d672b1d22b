"""OpenAI's own client against Atelier: only the base address is another. Needs `pip install openai`."""

import sys

import openai

client = openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="any")
path = sys.argv[1]


def transcribe(**more):
    with open(path, "rb") as recording:
        return client.audio.transcriptions.create(file=recording, model="whisper-1", **more)


print("models:", ", ".join(model.id for model in client.models.list()))
heard = transcribe().text
print("json:", heard)
told = list(transcribe(stream=True))
assert told[-1].type == "transcript.text.done" and told[-1].text == heard, told
assert "".join(event.delta for event in told[:-1]) == heard, told
verbose = transcribe(response_format="verbose_json", timestamp_granularities=["segment"])
assert verbose.text == heard and verbose.segments, verbose
print("verbose_json:", verbose.language, f"{verbose.duration:.1f} s", len(verbose.segments), "segment(s)")
print("srt:", transcribe(response_format="srt").splitlines()[1])
try:
    transcribe(response_format="vtt", timestamp_granularities=["word"])
    raise SystemExit("a field that cannot be honoured was taken")
except openai.BadRequestError as error:
    print("refused:", error.param)
