// The microphone: opens it, records while asked to, and says how loud it is. Knows nothing of keys, buttons or requests.

// what browsers record, the best first; the server tells them apart by their content
const TYPES = ["audio/webm;codecs=opus", "audio/mp4;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
// the microphone stays open this long after a recording: opening it anew would swallow the first word of the next
const WARM_MS = 12_000;
const LONGEST_MS = 60_000;

/** Why there is no microphone: `reason` is denied, missing, busy or insecure. */
export class NoMicrophone extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

export class Recorder {
  #stream = null;
  #recorder = null;
  // resolves with the recording, whoever ends it: an unplugged microphone does as well
  #recorded = null;
  #analyser = null;
  #context = null;
  #cooling = 0;
  #started = 0;
  #longest = 0;

  /** Opens the microphone if it is not open; asks the person the first time. True if it was open already. */
  async open() {
    clearTimeout(this.#cooling);
    if (this.#stream?.getTracks().every((track) => track.readyState === "live")) return true;
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) throw new NoMicrophone("insecure");
    const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio }).catch((error) => {
      throw new NoMicrophone(reasonOf(error));
    });
    this.#context ??= new AudioContext();
    this.#analyser = this.#context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#context.createMediaStreamSource(this.#stream).connect(this.#analyser);
    return false;
  }

  /** Begins a recording; `onLongest` is called when it has become as long as one may be. */
  start(onLongest) {
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this.#recorder = new MediaRecorder(this.#stream, { mimeType, audioBitsPerSecond: 48_000 });
    this.#recorded = recorded(this.#recorder);
    this.#recorder.start();
    this.#context.resume();
    this.#started = performance.now();
    this.#longest = setTimeout(onLongest, LONGEST_MS);
  }

  /** Ends the recording and gives it, with its length: `{ audio, milliseconds }`. */
  stop() {
    const milliseconds = this.elapsed();
    clearTimeout(this.#longest);
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
    this.#recorder = null;
    this.rest();
    return this.#recorded.then((audio) => ({ audio, milliseconds }));
  }

  /** Lets the microphone go after a while without a recording. */
  rest() {
    clearTimeout(this.#cooling);
    this.#cooling = setTimeout(() => this.close(), WARM_MS);
  }

  close() {
    if (this.#recorder) return;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
  }

  /** Milliseconds since the recording began. */
  elapsed() {
    return performance.now() - this.#started;
  }

  /** How loud it is now: 0 is silence, 1 as loud as speech gets. Root mean square of the last 1024 samples, in decibels. */
  level() {
    const samples = new Float32Array(this.#analyser.fftSize);
    this.#analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    const decibels = 10 * Math.log10(power + 1e-10);
    // -60 dB is a quiet room, -10 dB somebody close to the microphone
    return Math.min(1, Math.max(0, (decibels + 60) / 50));
  }
}

function recorded(recorder) {
  const pieces = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  return new Promise((done) => {
    recorder.onstop = () => done(new Blob(pieces, { type: recorder.mimeType }));
  });
}

function reasonOf(error) {
  if (["NotAllowedError", "SecurityError"].includes(error.name)) return "denied";
  if (["NotFoundError", "OverconstrainedError"].includes(error.name)) return "missing";
  return "busy";
}
