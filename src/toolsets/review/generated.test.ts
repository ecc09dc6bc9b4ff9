import path from 'node:path';
import { it } from 'node:test';
import { temporaryFolder } from '../../../test/support/databases.ts';
import { checkGenerated } from '../../../test/support/generated-answers.ts';
import { generateRepository } from '../../../test/support/generated-repository.ts';
import { reviewOf } from '../../../test/support/review-rig.ts';

const FILES = 600;

it('answers as git and grep do over a generated repository', async () => {
  const folder = path.join(await temporaryFolder(), 'generated');
  generateRepository(folder, FILES);
  await checkGenerated(folder, FILES, reviewOf({ generated: { path: folder } }));
});
