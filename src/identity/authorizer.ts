import { ADMINISTRATOR, type Binding } from '../resources/bindings.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { type Ask, type Decision, decide, type Layer } from './decide.ts';

const RUN_TOOLS: readonly Binding[] = [{ role: 'run', resource: 'tools' }];

/** Answers from memory what a caller may do now. */
export class Authorizer {
  decide(caller: AuthenticatedCaller, ask: Ask): Decision {
    return decide(layersOf(caller), ask);
  }
}

function layersOf({ principal, project }: AuthenticatedCaller): Layer[] {
  const confined = project !== '*';
  const bindings = confined ? RUN_TOOLS : ADMINISTRATOR;
  const rights = bindings.map((binding) => ({ rbac: 'built-in', subject: principal, binding }));
  return [{ principal, rights, project: confined ? project : undefined }];
}
