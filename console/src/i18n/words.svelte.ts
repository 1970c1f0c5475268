// Which language is spoken, and a word in it. Chinese comes when it is asked for.
import { en, type Word } from './en';

export type Language = 'en' | 'zh';

const kept = localStorage.getItem('language');
const spoken: { language: Language; words: Record<Word, string> } = $state({ language: 'en', words: en });

export async function speak(language: Language): Promise<void> {
  spoken.words = language === 'zh' ? (await import('./zh')).zh : en;
  spoken.language = language;
  localStorage.setItem('language', language);
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
}

export function language(): Language {
  return spoken.language;
}

export function say(word: Word, facts: Record<string, string | number> = {}): string {
  return spoken.words[word].replace(/\{(\w+)\}/g, (all, name: string) => String(facts[name] ?? all));
}

/** A word for a value of the API, or the value itself where it is new to us. */
export function sayValue(value: string, prefix = ''): string {
  const word = `${prefix}${value}`;
  return word in spoken.words ? spoken.words[word as Word] : value;
}

export const first: Language = kept === 'zh' || (kept === null && navigator.language.startsWith('zh')) ? 'zh' : 'en';
