import type { JsonObject } from '../protocol/jsonrpc.ts';
import { canonicalName, exposedName, exposedNameLimit, MAX_NAME } from '../protocol/names.ts';
import { uriTemplate } from '../protocol/uri-template.ts';
import type { LeftOut } from './left-out.ts';
import { clashes, withPrefix } from './name-prefixes.ts';
import type { ReadPart, ViewPart, ViewPrompt, ViewTemplate } from './view.ts';

/** The prompts and resources of the servers of a surface, in the project's order. */
export class MergedEntries {
  readonly prompts = new Map<string, ViewPrompt>();
  readonly resources = new Map<string, string>();
  readonly templates: ViewTemplate[] = [];
  readonly lists = {
    prompts: [] as JsonObject[],
    resources: [] as JsonObject[],
    templates: [] as JsonObject[],
  };
  readonly #project: string;
  readonly #clashes: ReadonlySet<string>;
  readonly #templateOwners = new Map<string, string>();

  constructor(project: string, parts: readonly ViewPart[]) {
    this.#project = project;
    this.#clashes = clashes(parts, (part) => part.listing?.prompts.map((one) => String(one.name)) ?? []);
  }

  add(part: ReadPart, leftOut: LeftOut): void {
    for (const prompt of part.listing.prompts) this.#addPrompt(part, prompt, leftOut);
    for (const resource of part.listing.resources) this.#addResource(part.server, resource, leftOut);
    for (const template of part.listing.templates) this.#addTemplate(part.server, template, leftOut);
  }

  #addPrompt({ server, spec }: ReadPart, prompt: JsonObject, leftOut: LeftOut): void {
    const name = String(prompt.name);
    const limit = spec.prefix === 'never' ? MAX_NAME : exposedNameLimit(this.#project);
    const wanted = withPrefix(server, name, spec.prefix, this.#clashes);
    const exposed = exposedName(wanted, canonicalName(server, name), limit);
    const owner = this.prompts.get(exposed)?.server;
    if (owner !== undefined) {
      leftOut.add(`prompt ${name}`, `the name ${exposed} is that of a prompt of ${owner}`);
      return;
    }
    this.prompts.set(exposed, { server, name });
    this.lists.prompts.push(exposed === name ? prompt : { ...prompt, name: exposed });
  }

  /** URIs stay as they are; the first server in the project's order owns one that two of them list. */
  #addResource(server: string, resource: JsonObject, leftOut: LeftOut): void {
    const uri = String(resource.uri);
    const owner = this.resources.get(uri);
    if (owner !== undefined) {
      leftOut.add(`resource ${uri}`, `it is read from ${owner}`);
      return;
    }
    this.resources.set(uri, server);
    this.lists.resources.push(resource);
  }

  #addTemplate(server: string, template: JsonObject, leftOut: LeftOut): void {
    const text = String(template.uriTemplate);
    const owner = this.#templateOwners.get(text);
    this.templates.push({ server, text, template: uriTemplate(text) });
    if (owner !== undefined) {
      leftOut.add(`template ${text}`, `${owner} has it too and is asked first`);
      return;
    }
    this.#templateOwners.set(text, server);
    this.lists.templates.push(template);
  }
}
