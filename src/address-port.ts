/** `10.0.0.1:80`, `[fd00::1]:80` */
export const addressPort = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
