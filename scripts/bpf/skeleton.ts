/** Takes a light skeleton (`bpftool gen skeleton -L`, a C header) apart. Pure. */

export interface Skeleton {
  name: string
  /** In the order of the loader's context. */
  maps: string[]
  programs: string[]
  /** The loader program's instructions, and the data it works on. */
  instructions: Buffer
  data: Buffer
}

/** One `bpf(2)` call in the loader program. */
export interface LoaderCall {
  command: number
  /** Index of the call instruction. */
  instruction: number
  /** Where in the data its `union bpf_attr` lies. */
  attribute: number
}

/** The bytes of a C string literal's inside. */
const literal = (text: string): Buffer => {
  const out: number[] = []
  const source = text.replace(/\\\n/g, '').replace(/"\s*"/g, '')
  for (let at = 0; at < source.length; at++) {
    if (source[at] !== '\\') {
      out.push(source.charCodeAt(at))
      continue
    }
    const code = source[++at]
    if (code === 'x') {
      out.push(Number.parseInt(source.slice(at + 1, at + 3), 16))
      at += 2
    } else if (code === '0') out.push(0)
    else if (code === 'n') out.push(10)
    else throw new Error(`escape \\${code} is not known`)
  }
  return Buffer.from(out)
}

/** bpftool writes `opts.data = (void *)"..."`, newer ones `static const char opts_data[] = "..."`. */
const blob = (header: string, kind: 'data' | 'insns'): Buffer => {
  const newer = kind === 'insns' ? 'opts_insn' : 'opts_data'
  const old = new RegExp(
    `opts\\.${kind}_sz = (\\d+);\\s*opts\\.${kind} = \\(void \\*\\)"([\\s\\S]*?)";`,
  ).exec(header)
  const text =
    old?.[2] ?? new RegExp(`char ${newer}\\[\\][^=]*= "([\\s\\S]*?)";`).exec(header)?.[1] ?? undefined
  if (text === undefined) throw new Error(`the skeleton has no ${kind}: this bpftool writes another form`)
  const bytes = literal(text)
  if (old !== null && bytes.length !== Number(old[1]))
    throw new Error(`the skeleton's ${kind} has ${bytes.length} bytes instead of ${old[1]}`)
  return bytes
}

/** @throws Error when the header is not in a known form */
export const parseSkeleton = (header: string): Skeleton => {
  const [, name, body] = /^struct (\w+) \{\n\tstruct bpf_loader_ctx ctx;\n([\s\S]*?)^\};/m.exec(header) ?? []
  if (name === undefined || body === undefined) throw new Error('this is not a light skeleton')
  const all = (pattern: RegExp): string[] => [...body.matchAll(pattern)].map(match => match[1])
  return {
    name,
    maps: all(/struct bpf_map_desc (\w+);/g),
    programs: all(/struct bpf_prog_desc (\w+);/g),
    instructions: blob(header, 'insns'),
    data: blob(header, 'data'),
  }
}

const MOV_IMMEDIATE = 0xb7
const LOAD_64 = 0x18
const CALL = 0x85
const PSEUDO_MAP_INDEX_VALUE = 6
const HELPER_SYS_BPF = 166

/**
 * The calls of bpf(2) in a loader program, in their order. Each is
 * `r1 = command; r2 = &data[attribute] (two instructions); r3 = size; call sys_bpf`.
 * @throws Error for a call that is made in another way
 */
export const loaderCalls = (instructions: Buffer): LoaderCall[] => {
  const calls: LoaderCall[] = []
  const at = (index: number) => ({
    code: instructions[index * 8],
    target: instructions[index * 8 + 1] & 0xf,
    source: instructions[index * 8 + 1] >> 4,
    immediate: instructions.readInt32LE(index * 8 + 4),
  })
  for (let index = 0; index < instructions.length / 8; index++) {
    const { code, source, immediate } = at(index)
    if (code === LOAD_64) {
      index++ // its second half is no instruction
      continue
    }
    if (code !== CALL || source !== 0 || immediate !== HELPER_SYS_BPF) continue
    const [command, address, rest, size] = [index - 4, index - 3, index - 2, index - 1].map(at)
    const known =
      command.code === MOV_IMMEDIATE &&
      command.target === 1 &&
      address.code === LOAD_64 &&
      address.target === 2 &&
      address.source === PSEUDO_MAP_INDEX_VALUE &&
      size.code === MOV_IMMEDIATE &&
      size.target === 3
    if (!known) throw new Error(`the loader's call at instruction ${index} has an unknown form`)
    calls.push({ command: command.immediate, instruction: index, attribute: rest.immediate })
  }
  return calls
}
