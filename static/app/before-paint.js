// Runs before the first paint: sets the user's theme and text size, and whether there is room for one view or for all.
// A plain script, so that it blocks. The page's sizes are in rem, which grow with the text size.
(() => {
  const root = document.documentElement;
  const [NARROW, COMPACT, TINY] = [760, 900, 360]; // pixels at the usual size
  const LOW = matchMedia('(max-height: 480px) and (pointer: coarse)');
  const GROWTH = 0.6; // of the page with its text: at 28, twice the usual size, the rest is 1.6 times as large

  function fit() {
    // 14 is the usual text size in pixels.
    const wanted = Math.max(1, 1 + ((Number(root.dataset.textSize) || 14) / 14 - 1) * GROWTH);
    const scale = Math.max(1, Math.min(wanted, innerWidth / 320)); // less than 320 is no page any more
    root.style.setProperty('--scale', String(scale));
    const room = innerWidth / scale;
    const before = root.classList.contains('narrow');
    root.classList.toggle('narrow', room <= NARROW || LOW.matches);
    root.classList.toggle('compact', room <= COMPACT);
    root.classList.toggle('tiny', room <= TINY);
    // An event and not a callback, as this file is no module.
    if (before !== root.classList.contains('narrow')) dispatchEvent(new Event('narrow'));
  }

  try {
    const { theme, textSize } = JSON.parse(localStorage.getItem('coderunner:settings') ?? '{}');
    if (theme === 'dark' || theme === 'light') root.dataset.theme = theme;
    if (textSize) root.dataset.textSize = textSize;
  } catch {
    // a storage that cannot be read leaves the system's theme and the usual size
  }
  addEventListener('resize', fit);
  LOW.addEventListener('change', fit);
  fit();
})();
