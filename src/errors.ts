/**
 * Every error that shunt raises on purpose has a stable code from this table; codes are append-only.
 * The message says what happened and what to do next; `cause` keeps what was underneath.
 */
export const ERROR_CODES = {
  SHUNT_ERR_CONFIG: 'a configuration file was refused',
  SHUNT_ERR_USAGE: 'a command was used wrongly',
  SHUNT_ERR_OS: 'a system call failed',
  SHUNT_ERR_CAPABILITY: 'this machine lacks something that a role needs',
  SHUNT_ERR_NFT: 'nftables refused a change',
  SHUNT_ERR_CONTROL_UNREACHABLE: 'the agent did not answer on its control socket',
  SHUNT_ERR_CONTROL_PROTOCOL: 'the control API was asked, or answered, something it does not know',
  SHUNT_ERR_FRAME: 'a peer sent bytes that are not a valid frame',
  SHUNT_ERR_IDENTITY: 'a key file is missing or damaged',
  SHUNT_ERR_DATAPLANE: 'the data plane failed',
  SHUNT_ERR_LAB: 'a lab could not be built or used',
  SHUNT_ERR_GUARD: 'a safety rule refused the action',
  SHUNT_ERR_TIMEOUT: 'an action took longer than it may',
  SHUNT_ERR_STATEMENT: 'a statement about the cluster is not valid',
  SHUNT_ERR_CONFLICT: 'another change of the cluster came first',
  SHUNT_ERR_TOKEN: 'a join token cannot be used',
  SHUNT_ERR_STATE: 'the saved state of the cluster is missing or damaged',
  SHUNT_ERR_PEER: 'a node of the cluster did not answer',
  SHUNT_ERR_INTERNAL: 'a defect of shunt itself',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

export class ShuntError extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'ShuntError'
    this.code = code
  }
}

/** A failed system call: `errno` is the kernel's number, `symbol` its name (`EPERM`). */
export class OsError extends ShuntError {
  readonly errno: number
  readonly symbol: string
  constructor(call: string, errno: number, symbol: string, hint = '') {
    super('SHUNT_ERR_OS', `${call}: ${symbol} (errno ${errno})${hint === '' ? '' : `; ${hint}`}`)
    this.name = 'OsError'
    this.errno = errno
    this.symbol = symbol
  }
}

/** The text of whatever was thrown, for logs and messages. */
export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error))
