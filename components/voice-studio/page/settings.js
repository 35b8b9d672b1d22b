// What this browser remembers of the interface: language, mode and appearance. Owns the keys in localStorage and nothing
// else is kept there; pictures, sessions and accounts are the server's. Storage may be forbidden or full: then choices last
// as long as the page.

const KEY = "atelier.";
const CHOICES = {
  language: ["auto", "en", "fi"],
  mode: ["local_fast", "local_quality", "cloud"],
  theme: ["light", "dark"],
};
const memory = new Map();

/** The remembered choice, or null where there is none or one that this version does not know. */
export function remembered(name) {
  let value = memory.get(name) ?? null;
  try {
    value = localStorage.getItem(KEY + name) ?? value;
  } catch {
    // forbidden: what this page remembers itself has to do
  }
  return CHOICES[name].includes(value) ? value : null;
}

export function remember(name, value) {
  memory.set(name, value);
  try {
    localStorage.setItem(KEY + name, value);
  } catch {
    // see above
  }
}

/** The interface's language: the chosen one, and for Auto the first of the browser's that there is. */
export function interfaceLanguage() {
  const chosen = remembered("language") ?? "auto";
  if (chosen !== "auto") return chosen;
  const wanted = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((tag) => tag === "en" || tag === "fi") ?? "en";
}

/** Whether the page is dark now, by choice or by the system. */
export function isDark() {
  const chosen = remembered("theme");
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function turnTheme() {
  const next = isDark() ? "light" : "dark";
  remember("theme", next);
  document.documentElement.dataset.theme = next;
}
