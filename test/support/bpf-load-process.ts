/** Loads the probe with whatever rights this process has: says "loaded", or why not. */
import { errorText } from '../../src/errors.ts'
import { loadProbe } from './bpf.ts'

try {
  loadProbe().close()
  process.stdout.write('loaded')
} catch (error) {
  process.stdout.write(errorText(error))
}
