import { errorText, ShuntError } from '../errors.ts'

/** Why the control port cannot be listened on, with what to look at. */
export const listenError = (address: string, port: number, error: unknown): ShuntError =>
  new ShuntError(
    'SHUNT_ERR_OS',
    `cannot listen for peers on ${address} port ${port} (${systemText(error)}); is addresses.cluster an address of this machine, and the port free?`,
    { cause: error },
  )

/** libp2p wraps the system's answer in advice about itself, over several lines with a stack. */
const systemText = (error: unknown): string =>
  /Error: (listen .*)/.exec(errorText(error))?.[1] ?? errorText(error)
