/** The frames of the kept stream: numbers and caps, values, codec, incremental reader. Pure. */
export { encodeAtomMember, encodeAtoms } from './frame-atoms.ts'
export { decodeFrame } from './frame-decode.ts'
export {
  encodeEnded,
  encodeGoodbye,
  encodeHeartbeat,
  encodeHeartbeatEcho,
  encodeHello,
  encodePlumb,
  encodeUnplumb,
} from './frame-encode.ts'
export * from './frame-format.ts'
export { encodeHealthFrame } from './frame-health.ts'
export { encodeLedgerEntries, encodeLedgerList, encodeLedgerWant } from './frame-ledger.ts'
export { encodeOwned, encodeWhoOwns } from './frame-owners.ts'
export { FrameReader } from './frame-reader.ts'
export type { FlowRecord } from './records.ts'
