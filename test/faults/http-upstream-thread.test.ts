import { sendFromThreads } from '../support/http-rig.ts';

// What servers do wrong must end in the same way when requests are sent from a thread.
sendFromThreads();
await import('./http-upstream.test.ts');
