// @ts-check
/** Dark or light: the system's choice until the visitor makes another. Runs before the first paint. */
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const KEY = "theme";

  const apply = () => {
    const theme = localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    const toggle = document.getElementById("theme");
    toggle?.setAttribute("aria-pressed", String(theme === "dark"));
  };

  const turn = () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    // Back at what the system says, the page follows the system again.
    if ((theme === "dark") === system.matches) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
    apply();
  };

  apply();
  system.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme")?.addEventListener("click", turn);
    apply();
  });
})();
