C
"serve*2.21.00
.
pPrintV2* 
output_streamfile:///tmp/x