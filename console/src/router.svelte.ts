// The page that the address names. Hash routes, so that the server has no rules for them.

export interface Place { parts: string[]; query: URLSearchParams }

function read(): Place {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return { parts: path.split('/').filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

const here: { place: Place } = $state({ place: read() });
addEventListener('hashchange', () => { here.place = read(); });

export function place(): Place {
  return here.place;
}

export function to(...parts: string[]): string {
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

export function go(...parts: string[]): void {
  location.hash = to(...parts);
}
