/** The bare stdio upstream: `node stdio-server.ts legacy|modern`. Answers of one read leave in one write. */
import type { Era, Message } from '../era.ts';
import { LineSplitter } from '../line-splitter.ts';
import { createAnswers } from './answers.ts';

const answerTo = createAnswers(process.argv[2] === 'modern' ? 'modern' : ('legacy' satisfies Era), 1);
const splitter = new LineSplitter();

process.stdin.on('data', (chunk: Buffer) => {
  let out = '';
  for (const line of splitter.push(chunk)) {
    const message = JSON.parse(line) as Message;
    if (message.id !== undefined) out += `${JSON.stringify(answerTo(message).message)}\n`;
  }
  if (out !== '') process.stdout.write(out);
});
