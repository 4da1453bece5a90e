/** Changes of a node's roles as words: `+host`, `-classifier`. Pure. */
import type { Role } from '../config/schema.ts'
import { didYouMean } from '../config/suggest.ts'
import { ShuntError } from '../errors.ts'

const ORDER: readonly Role[] = ['forwarder', 'classifier', 'host']

/** A sign and at least two letters: options of one letter stay options. */
export const isRoleChange = (word: string): boolean => /^(\+[\w-]*|-[a-z]{2,})$/.test(word)

/** @throws ShuntError SHUNT_ERR_USAGE for what is no role, or a role that is both given and taken */
export const changeRoles = (before: readonly string[], changes: readonly string[]): Role[] => {
  const after = new Set(before)
  const seen = new Map<string, string>()
  for (const change of changes) {
    const role = change.slice(1)
    if (!(ORDER as readonly string[]).includes(role))
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        `${change}: there is no role ${JSON.stringify(role)}${didYouMean(role, ORDER)}; the roles are ${ORDER.join(', ')}`,
      )
    if ((seen.get(role) ?? change) !== change)
      throw new ShuntError('SHUNT_ERR_USAGE', `${role} is both given and taken; say which`)
    seen.set(role, change)
    if (change.startsWith('+')) after.add(role)
    else after.delete(role)
  }
  return ORDER.filter(role => after.has(role))
}
