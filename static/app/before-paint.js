// Before anything is painted: the theme and the size that the user chose, and whether there is room for one view or for
// all. A plain script, so that it blocks. The sizes of the page are in rem, which grows with the size of the text.
(() => {
  const root = document.documentElement;
  const [NARROW, COMPACT, TINY] = [760, 900, 360]; // pixels at the usual size
  const LOW = matchMedia('(max-height: 480px) and (pointer: coarse)');
  const GROWTH = 0.6; // of the page with its text: at 28, twice the usual size, the rest is 1.6 times as large

  function fit() {
    const wanted = Math.max(1, 1 + ((Number(root.dataset.textSize) || 14) / 14 - 1) * GROWTH);
    const scale = Math.max(1, Math.min(wanted, innerWidth / 320)); // less than 320 is no page any more
    root.style.setProperty('--scale', String(scale));
    const room = innerWidth / scale;
    const before = root.classList.contains('narrow');
    root.classList.toggle('narrow', room <= NARROW || LOW.matches);
    root.classList.toggle('compact', room <= COMPACT);
    root.classList.toggle('tiny', room <= TINY);
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
