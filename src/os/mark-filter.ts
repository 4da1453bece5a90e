import { pinned, pointerOf } from './ffi.ts'
import { SO_ATTACH_FILTER, SOL_SOCKET, setBytes } from './sockopt.ts'

const LOAD_WORD = 0x20 // BPF_LD | BPF_W | BPF_ABS
const AND = 0x54 // BPF_ALU | BPF_AND | BPF_K
const JUMP_EQUAL = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
const RETURN = 0x06 // BPF_RET | BPF_K
const SKB_MARK = 0xfffff014 // SKF_AD_OFF + SKF_AD_MARK, <linux/filter.h>
const WHOLE_PACKET = 0x40000

/** A classic BPF program that accepts packets whose mark, under `mask`, is `mark`: 8 bytes an instruction. */
export const markFilter = (mark: number, mask: number): Buffer => {
  const instructions: [code: number, ifTrue: number, ifFalse: number, k: number][] = [
    [LOAD_WORD, 0, 0, SKB_MARK],
    [AND, 0, 0, mask],
    [JUMP_EQUAL, 0, 1, (mark & mask) >>> 0],
    [RETURN, 0, 0, WHOLE_PACKET],
    [RETURN, 0, 0, 0],
  ]
  const program = pinned(instructions.length * 8)
  instructions.forEach(([code, ifTrue, ifFalse, k], index) => {
    program.writeUInt16LE(code, index * 8)
    program[index * 8 + 2] = ifTrue
    program[index * 8 + 3] = ifFalse
    program.writeUInt32LE(k >>> 0, index * 8 + 4)
  })
  return program
}

/** Attaches a classic BPF program to a socket; the kernel copies it. */
export const attachFilter = (fd: number, program: Buffer): void => {
  const descriptor = pinned(16) // struct sock_fprog { u16 len; struct sock_filter *filter; }
  descriptor.writeUInt16LE(program.length / 8, 0)
  descriptor.writeBigUInt64LE(pointerOf(program), 8)
  setBytes(fd, SOL_SOCKET, SO_ATTACH_FILTER, descriptor, 'setsockopt(SO_ATTACH_FILTER)')
}
