/** Whom a caller wants to act as: `User:…` or `McpToken:…`. */
export const AS_HEADER = 'castellan-as';
