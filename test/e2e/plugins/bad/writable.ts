// Fine, but copied into the folder so that everybody may write it.
export default { name: "writable", api: 1, watches: [], tables: [], setup() {} };
