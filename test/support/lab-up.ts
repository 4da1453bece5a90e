/** A process that builds a lab, for tests that end it in the middle: `lab-up.ts OPTIONS_AS_JSON`. */
import { Lab } from '../../src/lab/lab.ts'

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
await Lab.up({ ...JSON.parse(process.argv[2]!), onProgress: say })
say('up')
setInterval(() => {}, 1_000_000) // until a signal comes
