/**
 * A kernel's text: what it declares of itself, and how it becomes what a device compiles. The parts
 * that its header names are put in front of it, and every override becomes a const of the variant's
 * value: some versions of Safari silently compute nothing where the size of an array or a workgroup
 * hangs on an override. Nothing else of the text is changed.
 */
import { ModelError } from './errors.js';

const BINDING = /^@group\(0\) @binding\((\d+)\) var<storage, (read|read_write)> (\w+): array</gm;
const OVERRIDE = /^override (\w+): (u32|f32|bool) = ([^;]+);/gm;
const LITERAL = /^(?:true|false|-?\d[\w.]*)$/;

/** @param {string} name of a part @returns {string} its file among the kernels', without .wgsl */
export const partFile = (name) => `parts/${name}`;

/**
 * The parts that a kernel's header names, in order.
 * @param {string} wgsl
 * @returns {string[]}
 */
export function partsOf(wgsl) {
  const [, line] = wgsl.match(/^\/\/ {3}parts +(\S[^\n]*?) *$/m) ?? [];
  return line ? line.split(',').map((name) => name.trim()) : [];
}

/**
 * Checks one file's text.
 * @param {string} file its name, without .wgsl
 * @param {string} text
 * @throws {Error} it is not all of a kernel, or of a part
 */
export function checkText(file, text) {
  const count = (brace) => text.split(brace).length - 1;
  const part = file.startsWith(partFile(''));
  const whole = part ? text.startsWith('// part ') : text.includes('fn main(');
  if (!whole || count('{') !== count('}')) {
    throw new Error(`is not a whole ${part ? 'part' : 'kernel'}: its text ends early`);
  }
  if (part) return;
  try {
    dimsAndGrid(file, text);
  } catch (cause) {
    throw new Error(`is not a kernel: ${cause.message}`, { cause });
  }
}

/**
 * @typedef {object} Kernel
 * @property {string} name
 * @property {{ file: string, text: string }[]} pieces its parts and itself
 * @property {{ field: string, type: string }[]} dims
 * @property {{ slot: number, name: string, writes: boolean }[]} bindings by slot, the written one
 *   last
 * @property {Record<string, number>} overrides those that a variant may set, with their defaults
 * @property {string[]} grid terms of x, y, z
 * @property {boolean} stride fewer workgroups will do
 */

/**
 * @param {string} name
 * @param {(file: string) => string} textOf a file's text
 * @returns {Kernel}
 * @throws {ModelError} its declarations are malformed
 */
export function readKernel(name, textOf) {
  const files = [...partsOf(textOf(name)).map(partFile), name];
  const pieces = files.map((file) => ({ file, text: textOf(file) }));
  const all = pieces.map(({ text }) => text).join('');
  return { name, pieces, ...dimsAndGrid(name, textOf(name)), bindings: bindingsOf(name, all),
    overrides: overridesOf(name, all) };
}

function dimsAndGrid(name, wgsl) {
  const [, fields] = wgsl.match(/^struct Dims \{([^}]*)\}/m) ?? [];
  const [, grid, stride] = wgsl.match(/^\/\/ {3}grid +(\S[^\n]*?)( stride)? *$/m) ?? [];
  if (!fields || !grid) {
    throw new ModelError(`${name}.wgsl declares no struct Dims or no grid line`);
  }
  return {
    dims: [...fields.matchAll(/(\w+): (u32|f32)/g)].map(([, field, type]) => ({ field, type })),
    grid: grid.split(',').map((term) => term.trim()), stride: Boolean(stride),
  };
}

function bindingsOf(name, wgsl) {
  const bindings = [...wgsl.matchAll(BINDING)]
    .map(([, slot, access, binding]) => ({
      slot: Number(slot), name: binding, writes: access === 'read_write',
    }))
    .sort((a, b) => a.slot - b.slot);
  const slots = new Set(bindings.map(({ slot }) => slot));
  if (slots.has(0) || slots.size < bindings.length) {
    throw new ModelError(`${name}.wgsl: two buffers are bound to one slot, or one to that of dims`);
  }
  const last = bindings.length - 1;
  if (last < 0 || bindings.some(({ writes }, i) => writes !== (i === last))) {
    throw new ModelError(`${name}.wgsl: the last buffer, and it alone, must be read_write`);
  }
  return bindings;
}

function overridesOf(name, wgsl) {
  const found = [...wgsl.matchAll(OVERRIDE)];
  if (found.length !== (wgsl.match(/^\s*override\b/gm) ?? []).length) {
    throw new ModelError(`${name}.wgsl: an override is not \`override NAME: type = value;\` `
      + 'with a type of u32, f32 or bool');
  }
  return Object.fromEntries(found.filter(([, , , value]) => LITERAL.test(value))
    .map(([, constant, type, value]) => [constant,
      type === 'bool' ? Number(value === 'true') : Number.parseFloat(value)]));
}

/**
 * What is compiled for a variant.
 * @param {Kernel} kernel
 * @param {Record<string, number | boolean>} constants overrides that differ from their defaults.
 *   F16, which is none, makes `act` f16
 * @returns {string}
 * @throws {ModelError} it has no such override, or it cannot be that
 */
export function assemble({ name, pieces, overrides }, { F16: f16 = 0, ...constants }) {
  const unknown = Object.keys(constants).filter((constant) => !(constant in overrides));
  if (unknown.length) throw new ModelError(`${name}.wgsl has no override ${unknown.join(', ')}`);
  const valueOf = (constant, type, value) => (constant in constants
    ? literal(name, constant, type, Number(constants[constant])) : value);
  const code = pieces.map(({ text }) => text).join('')
    .replace(OVERRIDE, (_, constant, type, value) => (
      `const ${constant}: ${type} = ${valueOf(constant, type, value)};`));
  return prelude(code, f16) + code;
}

function literal(name, constant, type, value) {
  if (type === 'bool' && (value === 0 || value === 1)) return value ? 'true' : 'false';
  if (type === 'u32' && Number.isInteger(value) && value >= 0) return `${value}u`;
  if (type === 'f32' && Number.isFinite(value)) return `${value}f`;
  throw new ModelError(`${name}.wgsl: ${constant} is a ${type} and cannot be ${value}`);
}

/**
 * What stands before a kernel's own text, on its first line: WGSL wants directives first, and a
 * kernel that calls the type of its operands `act`, and its largest value ACT_MAX, leaves the
 * choice to its caller.
 */
function prelude(code, f16) {
  const enable = [f16 && 'f16', code.includes('subgroup_invocation_id') && 'subgroups'];
  const directives = enable.filter(Boolean).map((name) => `enable ${name}; `).join('');
  if (!/\bact\b/.test(code)) return directives;
  return directives + (f16 ? 'alias act = f16; const ACT_MAX = 65504.0; '
    : 'alias act = f32; const ACT_MAX = 3.4e38; ');
}

/**
 * Where a line of what `assemble` made stands.
 * @param {Kernel} kernel
 * @param {number} line from 1 on
 * @returns {{ file: string, line: number }} behind the end: lines of the kernel's own file
 */
export function placeOf({ pieces }, line) {
  let own = line;
  for (const { file, text } of pieces.slice(0, -1)) {
    const lines = text.split('\n').length - 1;
    if (own <= lines) return { file, line: own };
    own -= lines;
  }
  return { file: pieces[pieces.length - 1].file, line: own };
}
