// The chosen appearance, set before anything is painted, so that a dark page never flashes white. Loaded as a plain
// script for that reason; `settings.js` owns the choice itself.
try {
  const chosen = localStorage.getItem("atelier.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // storage may be forbidden; then the page looks as the system does
}
