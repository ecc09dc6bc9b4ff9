/** The languages whose grammars are shipped, and which nodes of their trees define something. */

export type Language = {
  name: string;
  /** Of the grammar's file: `tree-sitter-NAME.wasm`. */
  grammar: string;
  extensions: readonly string[];
  /** Type of a node that defines something, and what it defines. */
  definitions: Readonly<Record<string, string>>;
  /** Types of nodes that assign names; they count where nothing but these types is around them. */
  topLevel?: Readonly<Record<string, string>>;
};

const SCRIPT = {
  function_declaration: 'function',
  generator_function_declaration: 'function',
  class_declaration: 'class',
  method_definition: 'method',
} as const;
const TYPED = {
  ...SCRIPT,
  function_signature: 'function',
  abstract_class_declaration: 'class',
  interface_declaration: 'interface',
  type_alias_declaration: 'type',
  enum_declaration: 'enum',
  internal_module: 'namespace',
  abstract_method_signature: 'method',
  method_signature: 'method',
  property_signature: 'property',
  public_field_definition: 'property',
} as const;

export const LANGUAGES: readonly Language[] = [
  {
    name: 'typescript',
    grammar: 'typescript',
    extensions: ['ts', 'mts', 'cts'],
    definitions: TYPED,
    topLevel: { variable_declarator: 'variable' },
  },
  {
    name: 'tsx',
    grammar: 'tsx',
    extensions: ['tsx'],
    definitions: TYPED,
    topLevel: { variable_declarator: 'variable' },
  },
  {
    name: 'javascript',
    grammar: 'javascript',
    extensions: ['js', 'mjs', 'cjs', 'jsx'],
    definitions: { ...SCRIPT, field_definition: 'property' },
    topLevel: { variable_declarator: 'variable' },
  },
  {
    name: 'python',
    grammar: 'python',
    extensions: ['py', 'pyi'],
    definitions: { function_definition: 'function', class_definition: 'class' },
    topLevel: { assignment: 'variable' },
  },
  {
    name: 'go',
    grammar: 'go',
    extensions: ['go'],
    definitions: {
      function_declaration: 'function',
      method_declaration: 'method',
      type_spec: 'type',
      type_alias: 'type',
    },
    topLevel: { const_spec: 'constant', var_spec: 'variable' },
  },
  {
    name: 'rust',
    grammar: 'rust',
    extensions: ['rs'],
    definitions: {
      function_item: 'function',
      function_signature_item: 'function',
      struct_item: 'struct',
      enum_item: 'enum',
      union_item: 'union',
      trait_item: 'trait',
      mod_item: 'module',
      type_item: 'type',
      const_item: 'constant',
      static_item: 'variable',
      macro_definition: 'macro',
    },
  },
  {
    name: 'java',
    grammar: 'java',
    extensions: ['java'],
    definitions: {
      class_declaration: 'class',
      interface_declaration: 'interface',
      enum_declaration: 'enum',
      record_declaration: 'record',
      annotation_type_declaration: 'annotation',
      method_declaration: 'method',
      constructor_declaration: 'constructor',
      enum_constant: 'constant',
    },
  },
  {
    name: 'c#',
    grammar: 'c-sharp',
    extensions: ['cs'],
    definitions: {
      namespace_declaration: 'namespace',
      class_declaration: 'class',
      struct_declaration: 'struct',
      interface_declaration: 'interface',
      enum_declaration: 'enum',
      record_declaration: 'record',
      delegate_declaration: 'delegate',
      method_declaration: 'method',
      constructor_declaration: 'constructor',
      property_declaration: 'property',
    },
  },
  {
    name: 'c++',
    grammar: 'cpp',
    extensions: ['c', 'h', 'cc', 'cpp', 'cxx', 'hh', 'hpp', 'hxx'],
    definitions: {
      function_definition: 'function',
      class_specifier: 'class',
      struct_specifier: 'struct',
      union_specifier: 'union',
      enum_specifier: 'enum',
      namespace_definition: 'namespace',
      type_definition: 'type',
      alias_declaration: 'type',
      preproc_def: 'macro',
      preproc_function_def: 'macro',
    },
  },
  {
    name: 'php',
    grammar: 'php',
    extensions: ['php'],
    definitions: {
      function_definition: 'function',
      class_declaration: 'class',
      interface_declaration: 'interface',
      trait_declaration: 'trait',
      enum_declaration: 'enum',
      method_declaration: 'method',
    },
  },
  {
    name: 'ruby',
    grammar: 'ruby',
    extensions: ['rb'],
    definitions: { method: 'method', singleton_method: 'method', class: 'class', module: 'module' },
  },
  {
    name: 'bash',
    grammar: 'bash',
    extensions: ['sh', 'bash'],
    definitions: { function_definition: 'function' },
    topLevel: { variable_assignment: 'variable' },
  },
];

const BY_EXTENSION = new Map(
  LANGUAGES.flatMap((language) => language.extensions.map((extension) => [extension, language] as const)),
);

/** The language of a file, by the end of its name; undefined where no grammar is shipped. */
export function languageOf(path: string): Language | undefined {
  return BY_EXTENSION.get(/\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? '');
}
