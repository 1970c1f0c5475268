// How an application connects, in five languages. The password is never part of it: each reads it
// from the environment.

export interface Snippet { language: string; library: string; text: string }

function split(endpoint: string): { host: string; port: string } {
  const at = /^(?:rediss?:\/\/)?(.+):(\d+)$/.exec(endpoint);
  return { host: at?.[1] ?? endpoint, port: at?.[2] ?? '6379' };
}

export function snippets(endpoints: string[], user: string | undefined): Snippet[] {
  const nodes = endpoints.slice(0, 3).map(split);
  const first = nodes[0] ?? { host: '127.0.0.1', port: '6379' };
  const secret = user !== undefined;
  const list = (one: (node: { host: string; port: string }) => string) => nodes.map(one).join(', ');
  return [
    {
      language: 'Python', library: 'redis-py',
      text: `import os\nfrom redis.cluster import RedisCluster\n\nr = RedisCluster(host="${first.host}", port=${first.port}${
        secret ? `,\n                 username="${user}", password=os.environ["REDIS_PASSWORD"]` : ''})\nr.ping()`,
    },
    {
      language: 'Java', library: 'Jedis',
      text: `var nodes = Set.of(${list((it) => `new HostAndPort("${it.host}", ${it.port})`)});\ntry (var r = new JedisCluster(nodes${
        secret ? `,\n        DefaultJedisClientConfig.builder()\n            .user("${user}").password(System.getenv("REDIS_PASSWORD")).build()` : ''})) {\n    r.get("key");\n}`,
    },
    {
      language: 'Go', library: 'go-redis',
      text: `r := redis.NewClusterClient(&redis.ClusterOptions{\n\tAddrs: []string{${list((it) => `"${it.host}:${it.port}"`)}},${
        secret ? `\n\tUsername: "${user}", Password: os.Getenv("REDIS_PASSWORD"),` : ''}\n})`,
    },
    {
      language: 'Node.js', library: 'ioredis',
      text: `import { Cluster } from "ioredis";\n\nconst r = new Cluster([${list((it) => `{ host: "${it.host}", port: ${it.port} }`)}]${
        secret ? `, {\n  redisOptions: { username: "${user}", password: process.env.REDIS_PASSWORD },\n}` : ''});`,
    },
    {
      language: 'Rust', library: 'redis-rs',
      text: `let r = redis::cluster::ClusterClient::builder(vec![${list((it) => `"redis://${it.host}:${it.port}"`)}])${
        secret ? `\n    .username("${user}".to_owned()).password(std::env::var("REDIS_PASSWORD")?)` : ''}\n    .build()?;`,
    },
  ];
}
