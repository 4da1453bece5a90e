/** The application of a lab: nginx, unmodified, on every host (R-A1). */
import { createCipheriv, createHash } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { ShuntError } from '../errors.ts'
import { placeFiles } from './node-config.ts'
import { startInside } from './nodes.ts'
import { type LabFile, type LabProcess, type LabState, labDir } from './state.ts'
import type { LabPlan, PlacePlan } from './topology.ts'

const NGINX = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx']
const MIB = 1 << 20
const FILES = [
  ['/1m', MIB],
  ['/10m', 10 * MIB],
] as const

const filesDir = (state: LabState): string => `${labDir(state.name)}/files`

/** Bytes that look random and are the same in every lab. */
const bytes = (count: number): Buffer =>
  createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(count))

/** Makes the files that all hosts share. */
export const writeFiles = (state: LabState): LabFile[] => {
  mkdirSync(filesDir(state), { recursive: true })
  return FILES.map(([path, size]) => {
    const content = bytes(size)
    writeFileSync(filesDir(state) + path, content)
    return { path, bytes: size, sha256: createHash('sha256').update(content).digest('hex') }
  })
}

/** TCP ports on which every host's nginx answers. */
export const webPorts = (plan: LabPlan): number[] => [
  ...new Set([80, ...plan.services.filter(s => s.protocol === 'tcp').map(s => s.port)]),
]

/** @param prefix nginx's directory: configuration, logs, uploads and spool are below it. */
export const nginxConfig = (
  host: string,
  ports: number[],
  files: string,
  prefix: string,
  ipv6 = false,
): string => `
daemon off;
user root;
worker_processes 1;
pid ${prefix}/nginx.pid;
error_log ${prefix}/error.log;
events { worker_connections 8192; }
http {
  default_type application/octet-stream;
  client_body_temp_path ${prefix}/spool;
  proxy_temp_path ${prefix}/spool-proxy;
  fastcgi_temp_path ${prefix}/spool-fastcgi;
  uwsgi_temp_path ${prefix}/spool-uwsgi;
  scgi_temp_path ${prefix}/spool-scgi;
  log_format lab '$remote_addr $status $request_method $request_uri $remote_port $server_addr $connection';
  client_max_body_size 0;
  server {
${ports
  .flatMap(port => ['0.0.0.0', ...(ipv6 ? ['[::]'] : [])].map(at => `    listen ${at}:${port} backlog=4096;`))
  .join('\n')}
    access_log ${prefix}/access.log lab;
    add_header X-Host ${host} always;
    root ${files};
    location = / { default_type text/plain; return 200 "${host}\\n"; }
    location = /addr { default_type text/plain; return 200 "$remote_addr\\n"; }
    # PUT /upload/NAME is stored as uploads/NAME; PUT or POST /upload under a name that the answer's X-Upload tells.
    location /upload/ { alias ${prefix}/uploads/; dav_methods PUT; }
    location = /upload {
      add_header X-Host ${host} always;
      add_header X-Upload $request_id always;
      proxy_method PUT;
      proxy_hide_header Location;
      proxy_pass http://unix:${prefix}/store.sock:/$request_id;
    }
  }
  server { # nginx stores the body of a PUT only, so a POST comes here as one
    listen unix:${prefix}/store.sock;
    access_log off;
    root ${prefix}/uploads;
    location / { dav_methods PUT; }
  }
}
`

export const startWeb = (state: LabState, host: PlacePlan): LabProcess => {
  const nginx = NGINX.find(path => existsSync(path))
  if (nginx === undefined)
    throw new ShuntError('SHUNT_ERR_LAB', 'nginx is not installed; install it with: apt-get install nginx')
  const prefix = placeFiles(labDir(state.name), host.name).web
  mkdirSync(`${prefix}/uploads`, { recursive: true })
  const file = `${prefix}/nginx.conf`
  writeFileSync(
    file,
    nginxConfig(host.name, webPorts(state.plan), filesDir(state), prefix, host.address6 !== null),
  )
  const argv = [nginx, '-p', prefix, '-c', file, '-e', `${prefix}/error.log`]
  return startInside(state, host, 'web', argv, `${prefix}/error.log`)
}
