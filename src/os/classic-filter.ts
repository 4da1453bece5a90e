/** Classic BPF programs for packet sockets (<linux/filter.h>), 8 bytes an instruction. Pure but for the pinned memory. */
import { pinned } from './ffi.ts'

const LOAD_WORD = 0x20 // BPF_LD | BPF_W | BPF_ABS
const LOAD_HALF = 0x28 // BPF_LD | BPF_H | BPF_ABS
const LOAD_BYTE = 0x30 // BPF_LD | BPF_B | BPF_ABS
const JUMP_EQUAL = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
const RETURN = 0x06 // BPF_RET | BPF_K
const AUXILIARY = 0xfffff000 // SKF_AD_OFF
const NETWORK = 0xfff00000 // SKF_NET_OFF: from the IP header on, whatever is before it
const AD_PROTOCOL = 0
const AD_PACKET_TYPE = 4
const AD_MARK = 20
const PACKET_OUTGOING = 4
const ETH_P_IP = 0x0800
const ETH_P_IPV6 = 0x86dd
const IPV4_DESTINATION = 16
const IPV6_DESTINATION = 24

type Instruction = [code: number, ifTrue: number, ifFalse: number, k: number]

const encode = (instructions: readonly Instruction[]): Buffer => {
  const program = pinned(instructions.length * 8)
  instructions.forEach(([code, ifTrue, ifFalse, k], index) => {
    program.writeUInt16LE(code, index * 8)
    program[index * 8 + 2] = ifTrue
    program[index * 8 + 3] = ifFalse
    program.writeUInt32LE(k >>> 0, index * 8 + 4)
  })
  return program
}

/**
 * Takes the first `snaplen` bytes of packets that come in to an address, and none with the mark `notMark`.
 * @param destination four words, as in flow-key.ts (IPv4 as v4-mapped)
 */
export const destinationFilter = (
  destination: Uint32Array,
  snaplen: number,
  notMark: number | null,
): Buffer => {
  const isIpv4 = destination[0] === 0 && destination[1] === 0 && destination[2] === 0xffff
  const words = isIpv4
    ? [{ at: IPV4_DESTINATION, value: destination[3]! }]
    : [...destination].map((value, i) => ({ at: IPV6_DESTINATION + 4 * i, value }))
  // Each jump's way out is filled in below: what is not wanted goes to the last instruction.
  const tests: Instruction[] = [
    [LOAD_BYTE, 0, 0, AUXILIARY + AD_PACKET_TYPE],
    [JUMP_EQUAL, -1, 0, PACKET_OUTGOING],
    ...(notMark === null
      ? []
      : ([
          [LOAD_WORD, 0, 0, AUXILIARY + AD_MARK],
          [JUMP_EQUAL, -1, 0, notMark],
        ] satisfies Instruction[])),
    [LOAD_HALF, 0, 0, AUXILIARY + AD_PROTOCOL],
    [JUMP_EQUAL, 0, -1, isIpv4 ? ETH_P_IP : ETH_P_IPV6],
    ...words.flatMap(({ at, value }): Instruction[] => [
      [LOAD_WORD, 0, 0, NETWORK + at],
      [JUMP_EQUAL, 0, -1, value],
    ]),
    [RETURN, 0, 0, snaplen],
  ]
  const refused = tests.length
  return encode([
    ...tests.map(([code, ifTrue, ifFalse, k], i): Instruction => {
      const out = refused - i - 1
      return [code, ifTrue < 0 ? out : ifTrue, ifFalse < 0 ? out : ifFalse, k]
    }),
    [RETURN, 0, 0, 0],
  ])
}
