// @ts-check
/** Dark or light theme: the system's until the visitor chooses another. Runs before the first paint. */
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const KEY = "theme";

  const apply = () => {
    const theme = localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    const toggle = document.getElementById("theme");
    toggle?.setAttribute("aria-pressed", String(theme === "dark"));
  };

  const toggleTheme = () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    // When the choice is the system's again, the page follows the system again.
    if ((theme === "dark") === system.matches) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
    apply();
  };

  apply();
  system.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme")?.addEventListener("click", toggleTheme);
    apply();
  });
})();
