// Light, dark, or what the system says; and when something that was painted has to be painted again.

export type Theme = 'system' | 'light' | 'dark';

const kept = localStorage.getItem('theme');
const look: { theme: Theme; paints: number } = $state({
  theme: kept === 'light' || kept === 'dark' ? kept : 'system', paints: 0,
});

export function theme(): Theme { return look.theme; }
export function redraws(): number { return look.paints; }

export function wear(theme: Theme): void {
  look.theme = theme;
  if (theme === 'system') {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem('theme');
  } else {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem('theme', theme);
  }
  look.paints++;
}

export function isDark(): boolean {
  return look.theme === 'dark' || (look.theme === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { look.paints++; });
wear(look.theme);
