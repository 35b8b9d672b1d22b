// What is seen of the voice: a moving line of bars, the ring around the button, and the clock. Draws what it is told and
// knows nothing of where levels come from.

import { byId } from "./dom.js";

const BAR_PX = 3;
const GAP_PX = 3;
// one bar per this many milliseconds, however often the screen is drawn
const BAR_MS = 45;

/** Draws until the returned function is called. `level` gives 0 to 1, `elapsed` milliseconds. */
export function showLevels(level, elapsed) {
  const canvas = byId("meter");
  const ring = byId("level");
  const levels = [];
  let frame = 0;
  const draw = () => {
    const now = level();
    while (levels.length * BAR_MS < elapsed()) levels.push(now);
    ring.style.setProperty("--level", now.toFixed(3));
    byId("clock").textContent = clock(elapsed());
    drawBars(canvas, levels);
    frame = requestAnimationFrame(draw);
  };
  draw();
  return () => {
    cancelAnimationFrame(frame);
    ring.style.setProperty("--level", 0);
  };
}

function drawBars(canvas, levels) {
  const scale = devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = getComputedStyle(canvas).color;
  const fitting = Math.floor(width / (BAR_PX + GAP_PX));
  for (let back = 0; back < fitting; back += 1) {
    // silence is a row of dots, so that the line is there from the start
    const level = levels[levels.length - 1 - back] ?? 0;
    const tall = Math.max(BAR_PX, level * level * height);
    context.globalAlpha = back < levels.length ? 1 : 0.3;
    context.beginPath();
    context.roundRect(width - (back + 1) * (BAR_PX + GAP_PX), (height - tall) / 2, BAR_PX, tall, BAR_PX / 2);
    context.fill();
  }
}

const clock = (milliseconds) => {
  const seconds = Math.floor(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
};
