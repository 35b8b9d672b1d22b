"""Makes the recordings that the tests beside this file decode and, for each stream of packets, the samples that it must become.

The encoders are ffmpeg's, libopus, LAME and libvorbis. The samples are what ffmpeg's decoder (libopus for Opus) gives for
the packets alone, without a container; cut where the encoder was told that the sound begins and ends; mixed by mean; and
brought to 16 kHz by soxr. Written as 16-bit numbers, `<stream>.s16`.

    pip install -r requirements.txt
    python make_recordings.py --out . --seed 1
"""

import argparse
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

SECONDS = 0.5
FROM_THE_START = {"avoid_negative_ts": "disabled"}
OPUS = {
    # name: application, bits per second, channels, the modes that its packets must have (RFC 6716, table 2)
    "opus-silk": ("voip", 8_000, 1, range(0, 12)),
    "opus-hybrid": ("voip", 28_000, 1, range(12, 16)),
    "opus-celt": ("lowdelay", 64_000, 2, range(16, 32)),
}


def sound(rate, channels, seed):
    """A rising tone with noise, without anything above 6 kHz; the channels differ."""
    count = int(SECONDS * rate) - 43  # so that no packet ends with it
    noise = np.random.default_rng(seed).standard_normal((channels, count))
    bands = np.fft.rfft(noise)
    bands[:, np.fft.rfftfreq(count, 1 / rate) > min(6_000, rate * 0.4)] = 0
    time = np.arange(count) / rate
    tone = np.sin(2 * np.pi * (200 * time + 2_000 * time**2))
    fade = np.minimum(1, np.minimum(time, time[::-1]) * 50)
    mixed = 0.3 * tone + 0.05 * np.fft.irfft(bands, count)
    return (mixed * fade * np.linspace(1, 0.5, channels)[:, None]).astype(np.float32)


def write(path, samples, rate, codec, bit_rate=None, options=None, container=None):
    """A file as ffmpeg writes it."""
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout, options=options or {})
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        # a start that is said: only then is the delay before it said as well
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        converter = av.AudioResampler(format=stream.codec_context.format.name, layout=layout, rate=rate)
        for part in converter.resample(frame) + converter.resample(None):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))


def remux(source, path, container=None):
    """The same packets in another container."""
    with av.open(str(source)) as old, av.open(str(path), "w", options=container or {}) as new:
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(audio=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)


def decoded(path, decoder=None):
    """What the packets of a file become, nothing left out: channels x frames."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        packets = [bytes(packet) for packet in file.demux(audio=0) if packet.size]
        known = stream.codec_context
        context = av.CodecContext.create(decoder or known.codec.name, "r")
        context.sample_rate, context.layout = known.sample_rate, known.layout.name
        if known.extradata and decoder != "libopus":
            context.extradata = known.extradata
        planar, found = av.AudioResampler(format="fltp"), []
        for packet in [av.Packet(packet) for packet in packets] + [None]:
            for frame in context.decode(packet):
                found += [part.to_ndarray() for part in planar.resample(frame)]
        return np.concatenate(found, 1), packets


def write_samples(path, mono, rate):
    """Writes frames as the samples that they must become, at 16 kHz in 16 bits."""
    count = -(-len(mono) * 16_000 // rate)
    mono = np.pad(mono.astype(np.float64), (0, rate // 10))
    samples = (soxr.resample(mono, rate, 16_000, "VHQ") if rate != 16_000 else mono)[:count]
    np.clip(np.round(samples * 32_768), -32_768, 32_767).astype("<i2").tofile(path)


def expect(path, found, delay, source, rate):
    """Writes the samples that the source's part of `found`, which begins after `delay` frames, must become."""
    mono = found[:, delay : delay + source.shape[1]].mean(0)
    wanted = source.mean(0)
    assert len(mono) == len(wanted), (path, found.shape, delay, wanted.shape)
    # the delay is right if the sound fits the source best there, to 0.1 ms: SILK's own filters are not exact
    around = range(-40, 41)
    fits = [np.dot(np.roll(wanted, shift), mono) for shift in around]
    assert abs(around[int(np.argmax(fits))]) <= max(1, rate // 10_000), (path, around[int(np.argmax(fits))])
    write_samples(path, mono, rate)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--seed", type=int, default=1)
    options = options.parse_args()
    out, seed = options.out, options.seed
    out.mkdir(parents=True, exist_ok=True)

    for name, (application, bit_rate, channels, modes) in OPUS.items():
        source = sound(48_000, channels, seed)
        settings = (source, 48_000, "libopus", bit_rate, {"application": application})
        # pages of 100 ms; and the delay before the start, where ffmpeg would move the start
        write(out / f"{name}.ogg", *settings, container={"page_duration": "100000", **FROM_THE_START})
        found, packets = decoded(out / f"{name}.ogg", "libopus")
        assert {packet[0] >> 3 for packet in packets} & set(modes), (name, [p[0] >> 3 for p in packets])
        expect(out / f"{name}.s16", found, 120 if application == "lowdelay" else 312, source, 48_000)
    hybrid = sound(48_000, 1, seed)
    settings = (hybrid, 48_000, "libopus", 28_000, {"application": "voip"})
    write(out / "opus-hybrid.webm", *settings)
    # a short recording is one page, whose end says how much of it is padding
    write(out / "opus-hybrid-page.ogg", *settings, container=FROM_THE_START)
    # as live recorders write: no duration, no index, no sizes of segment and clusters
    write(out / "opus-hybrid-live.webm", *settings, container={"live": "1", "cluster_time_limit": "200"})
    write(out / "opus-hybrid.mp4", *settings)

    for name, rate, channels in [("aac", 44_100, 1), ("aac-stereo", 48_000, 2)]:
        source = sound(rate, channels, seed)
        write(out / f"{name}.m4a", source, rate, "aac", 48_000 * channels)
        found, _ = decoded(out / f"{name}.m4a")
        expect(out / f"{name}.s16", found, 1024, source, rate)
    fragments = {"movflags": "empty_moov+delay_moov+default_base_moof", "frag_duration": "100000"}
    write(out / "aac-fragments.mp4", sound(44_100, 1, seed), 44_100, "aac", 48_000, container=fragments)
    write(out / "aac.mkv", sound(44_100, 1, seed), 44_100, "aac", 48_000)

    for name, rate, channels, bit_rate in [("mp3", 44_100, 2, 64_000), ("mp3-slow", 16_000, 1, 24_000)]:
        source = sound(rate, channels, seed)
        write(out / f"{name}.mp3", source, rate, "libmp3lame", bit_rate)
        found, _ = decoded(out / f"{name}.mp3")
        # LAME's 576 frames and the decoder's 529
        expect(out / f"{name}.s16", found, 1105, source, rate)

    source = sound(44_100, 2, seed)
    soundfile.write(out / "vorbis.ogg", source.T, 44_100, format="OGG", subtype="VORBIS", compression_level=0.7)
    expect(out / "vorbis.s16", decoded(out / "vorbis.ogg")[0], 0, source, 44_100)
    remux(out / "vorbis.ogg", out / "vorbis.webm")

    for name, rate, channels, codec in [
        ("flac.flac", 16_000, 2, "flac"),
        ("alaw.wav", 8_000, 1, "pcm_alaw"),
        ("pcm24.wav", 11_025, 1, "pcm_s24le"),
    ]:
        source = sound(rate, channels, seed)
        write(out / name, source, rate, codec)
        expect(out / f"{name.split('.')[0]}.s16", decoded(out / name)[0], 0, source, rate)

    # what is refused by name
    write(out / "alac.m4a", sound(8_000, 1, seed)[:, :800], 8_000, "alac")


if __name__ == "__main__":
    main()
