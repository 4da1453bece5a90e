import { createCipheriv } from 'node:crypto'

/** Bytes that look random and are the same everywhere. */
export const pattern = (bytes: number): Buffer =>
  createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16)).update(Buffer.alloc(bytes))
