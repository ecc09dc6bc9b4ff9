import { sendFromThreads } from '../../test/support/http-rig.ts';

// The transport must not notice from where its requests are sent.
sendFromThreads();
await import('./http-transport.test.ts');
