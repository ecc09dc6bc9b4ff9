import { ErrorCode, isObject, type JsonObject, type JsonRpcError } from './jsonrpc.ts';

export const TASKS = 'io.modelcontextprotocol/tasks';
const APPS = 'io.modelcontextprotocol/ui';
const SKILLS = 'io.modelcontextprotocol/skills';

/** Extensions whose methods and keys we know: any number of servers of a surface may have them. */
const KNOWN = new Set([TASKS, APPS]);
/** How one party proves to the next who it is holds for that one connection (ext-auth). */
const ABOUT_ACCESS = /(?:oauth|authorization|authentication|credentials|dpop|workload-identity)/i;

/** Methods of other extensions that say by themselves whose they are. */
const EXTENSION_OF: { readonly [method: string]: string } = {
  'skills/list': SKILLS,
  'skills/get': SKILLS,
  'resources/directory/read': SKILLS,
};
const NAMED = new Set(Object.values(EXTENSION_OF));
/** What the core protocol of any revision has for itself: nobody else may define methods there. */
const CORE = new Set([
  'server',
  'tools',
  'prompts',
  'resources',
  'completion',
  'logging',
  'sampling',
  'elicitation',
  'roots',
  'tasks',
  'subscriptions',
  'notifications',
]);
const METHOD = /^([A-Za-z0-9_.-]+)\/[A-Za-z0-9_./-]+$/;
const MAX_METHOD = 128;

/** The extensions in a map of capabilities that may pass from one hop to the next, with their settings as they are. */
export function passedExtensions(extensions: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(extensions).filter(([id, settings]) => isObject(settings) && !ABOUT_ACCESS.test(id)),
  );
}

/** Whether we ourselves know what an extension is about; of another one only its one server does. */
export function isKnownExtension(id: string): boolean {
  return KNOWN.has(id);
}

/** Whether every method of an extension says by its name that it is one. */
export function hasNamedMethods(id: string): boolean {
  return KNOWN.has(id) || NAMED.has(id);
}

/** The extension that a method belongs to, where its name alone says so. */
export function extensionOf(method: string): string | undefined {
  return Object.hasOwn(EXTENSION_OF, method) ? EXTENSION_OF[method] : undefined;
}

/** Whether a method of an extension is known to change nothing. */
export function onlyReads(method: string): boolean {
  return extensionOf(method) !== undefined;
}

/** Whether a method that the protocol does not have could be one of an extension. */
export function mayBeOfExtension(method: string): boolean {
  if (extensionOf(method) !== undefined) return true;
  const namespace = method.length <= MAX_METHOD ? METHOD.exec(method)?.[1] : undefined;
  return namespace !== undefined && !CORE.has(namespace);
}

/** Whether capabilities, of either side, declare an extension. */
export function declares(capabilities: JsonObject, id: string): boolean {
  return isObject(capabilities.extensions) && isObject(capabilities.extensions[id]);
}

/** -32021: the request needs an extension that the client did not declare. */
export function extensionFault(id: string): JsonRpcError {
  return {
    code: ErrorCode.missingClientCapability,
    message: `This request needs the extension ${id}, which the client did not declare`,
    data: { requiredCapabilities: { extensions: { [id]: {} } } },
  };
}
