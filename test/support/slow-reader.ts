/**
 * One download at an even pace: `slow-reader.ts URL BYTES SECONDS`. Reads BYTES of body over at least SECONDS (curl's own limit
 * lets bursts through). Prints the value of the header x-host when the answer begins, the SHA-256 of the body at its end.
 */
import { createHash } from 'node:crypto'
import { get } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

const [url, bytes, seconds] = process.argv.slice(2)
const msPerByte = (Number(seconds) * 1000) / Number(bytes)

get(url!, { agent: false }, async response => {
  process.stdout.write(`${response.headers['x-host']}\n`)
  const hash = createHash('sha256')
  const beganMs = performance.now()
  let taken = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    hash.update(chunk)
    taken += chunk.length
    const aheadMs = beganMs + taken * msPerByte - performance.now()
    if (aheadMs > 0) await delay(aheadMs)
  }
  process.stdout.write(`${hash.digest('hex')}\n`)
})
