/** Apart from the schema, so that commands do not load it. */
export const DEFAULT_CONTROL_SOCKET = '/run/shunt/control.sock'
