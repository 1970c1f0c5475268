// Starts the console: the language first, so that nothing is shown twice.
import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import './theme.svelte';
import { first, speak } from './i18n/words.svelte';

await speak(first);
mount(App, { target: document.getElementById('app')! });
