/** A node of links.test.ts in a process of its own: argv[2] is its options as JSON; it ends when its parent says so, or dies. */
import pino from 'pino'
import { createPeerLinks } from '../../../src/gossip/links.ts'

const { networkKeys, ...rest } = JSON.parse(process.argv[2]!)
const links = createPeerLinks({
  ...rest,
  networkKeys: networkKeys.map((key: string) => Buffer.from(key, 'hex')),
  log: pino({ level: 'silent' }),
})
await links.start()
process.on('disconnect', () => process.exit(1))
process.on('message', async (order: 'stop' | 'goodbye') => {
  if (order === 'goodbye') await links.goodbye('restarting')
  else {
    await links.stop()
    // No process.exit(): nothing of the links may keep the process alive.
    process.removeAllListeners('disconnect')
    process.disconnect?.()
  }
})
process.send!('ready')
