n
"serve*2.21.0[

cStatefulPartitionedCall;
9

__inference_serve_1 
pPyFunc*
token
pyfunc_0