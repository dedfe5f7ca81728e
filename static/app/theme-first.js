// Before anything is painted: the theme that the user chose, if one was chosen. A plain script, so that it blocks.
try {
  const { theme } = JSON.parse(localStorage.getItem('coderunner:settings') ?? '{}');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch {
  // a storage that cannot be read leaves the system's theme
}
